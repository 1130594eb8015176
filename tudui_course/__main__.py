"""`python -m tudui_course` is the same as `tudui`."""

from tudui_course.cli import main

if __name__ == "__main__":
    main()
