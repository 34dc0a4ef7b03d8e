"""Reads a component as ESP-IDF does before it builds."""

import subprocess


def registered(component, tmp_path):
    """Returns the words of idf_component_register() in a component's CMakeLists.txt.

    ESP-IDF first includes the file in a script, where only that command is there.
    """
    script = tmp_path / "requirements.cmake"
    script.write_text(f"""
macro(idf_component_register)
  message("registered ${{ARGN}}")
  return()
endmacro()
function(read)
  include("{component}/CMakeLists.txt")
endfunction()
read()
""")
    done = subprocess.run(["cmake", "-P", script], capture_output=True, text=True, check=True)
    return done.stderr.split("registered ")[1].strip().replace(";", " ").split()
