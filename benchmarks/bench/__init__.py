"""`fashionseg bench`: its plan, what measures for it and for the scripts beside this folder, what shows a result."""
