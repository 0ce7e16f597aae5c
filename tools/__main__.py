"""`python -m tools`: write anew all that is worked out from the code."""

from tools import config_schema, licences, verb_pages

config_schema.SCHEMA.write_text(config_schema.written(), encoding="utf-8")
verb_pages.write()
licences.PAGE.write_text(licences.written(), encoding="utf-8")
