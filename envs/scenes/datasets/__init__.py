"""Published scene data sets as they lie on the disk: HM3D, Matterport3D, Gibson, Replica, HSSD and their kin.

- `stage`: which attributes and files belong to a mesh
- `conventions`: which way is up where nothing says so
- `annotations`: what the objects are; one reader a format in `hm3d`, `mp3d`, `gibson` and `replica`
- `labels`: which triangle is which object
- `scene_instance`: scenes put together from a stage and objects (HSSD, ReplicaCAD)
- `listing`: the scenes in a folder
"""
