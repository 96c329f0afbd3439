"""The functions of `import normexp`, which normexp/__init__.py imports when they are used."""
