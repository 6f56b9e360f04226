"""Every picture and plot that the chapters show, one function a figure; its modules are its face.

    from zscir.figures.pictures import set_of_six
    set_of_six(benchmark, query_index=0)

Figures come back as matplotlib figures that pyplot does not know: the last line of a cell shows one exactly
once. Where drawings of the pocket world appear, they are by OpenMoji, CC BY-SA 4.0.
"""
