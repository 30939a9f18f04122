"""The live view behind `watch`: what it knows (`view`), its look (`draw`), what is typed (`keys`), its loop (`live`)."""
