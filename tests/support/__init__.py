"""What tests share: small datasets, hand-made folders, independent oracles, and how a command is called."""
