"""Images and labels, one data set a file: `decode` reads it, `facts` describes it without reading."""
