"""Languages: every text for people, in the language that they ask for.

``spoken`` says which languages there are, ``preferences`` which of them somebody
wants, ``numerals`` how numbers are written, ``catalogues`` holds the texts (gettext
catalogues in ``texts/``, read once) and ``coverage`` counts what is translated.
Machines read none of it: codes, ids and the fields of an answer never change with
the language.
"""
