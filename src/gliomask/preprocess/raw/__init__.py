"""The steps of native-space preprocessing: scans on grids of their own, skull on, into BraTS space; needs the extra
`raw`.

Images go in and out as arrays and `Geometry`; SimpleITK stays inside `itk`.
"""
