-- Whether a snapshot is needed is asked of those who may need it, not remembered.
DROP TABLE build_garbage;
