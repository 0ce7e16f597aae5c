"""The Transformer, its generation, its files, and its CTranslate2 form."""
