"""Writes a letter as DOCX with python-docx: headings, a table, a list. The path is the first argument."""
import sys

import docx

letter = docx.Document()
letter.add_heading("The blue pot", 1)
letter.add_paragraph("It stands in the cellar & is größer than the red one.")
table = letter.add_table(rows=2, cols=2)
for row, words in enumerate([("colour", "price"), ("blue", "12 €")]):
    for column, word in enumerate(words):
        table.cell(row, column).text = word
letter.add_paragraph("first", style="List Bullet")
letter.save(sys.argv[1])
