# cmake -D ROOT=... -D OUT=... -P WriteCommit.cmake: the commit that lies in ROOT as a C++ string, "-dirty" behind it where files
# differ from it; "unknown" outside a git checkout. The file is touched only where it changes.
find_program(git git)
set(commit "")
if(git)
  execute_process(COMMAND ${git} -C ${ROOT} describe --always --dirty --abbrev=40 --exclude=*
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT commit MATCHES "^[0-9a-f]+(-dirty)?$")
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "\"${commit}\"\n")
