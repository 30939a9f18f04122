"""The live view behind `watch`: what it knows (`view`), its look (`draw`), its keys (`keys`), the loop (`live`)."""
