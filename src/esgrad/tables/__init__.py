"""Tables: `table(suite)` gives the numbers, `markdown` the words around them where there are any."""
