"""Charts as SVG, drawn here: `spec` says what is drawn, `draw` makes the markup, `looks` colours.

Equal input gives equal bytes. Nothing here knows what a study is.
"""
