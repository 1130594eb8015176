"""For every test run, the notebooks' kernels included (they inherit these): quiet and repeatable."""

import os

HEADLESS = {
    "OMP_NUM_THREADS": "1",  # the same sums on any number of cores; and two jobs of one thread beat one of two
    "TQDM_DISABLE": "1",  # a progress bar's times would differ in every run
    "TUDUI_HEADLESS": "1",  # TensorBoard starts, a sentence stands in for its frame
    "TUDUI_PROGRESS": os.devnull,
}
os.environ.update(HEADLESS)
