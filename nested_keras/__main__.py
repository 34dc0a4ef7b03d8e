"""`python -m nested_keras`: the command `nested-keras`."""

from nested_keras.cli import main

if __name__ == "__main__":
    main()
