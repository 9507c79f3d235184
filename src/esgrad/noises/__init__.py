"""How the noise q is drawn: `directions` turns standard normals into N directions of unit variance."""
