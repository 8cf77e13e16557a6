# Run after a plugin is linked: -DNM=nm -DFILE=x.so. Fails when anything but the entry function is exported, because
# every further exported symbol can bind across plugins.
execute_process(COMMAND "${NM}" -D --defined-only --format=posix "${FILE}" OUTPUT_VARIABLE symbols RESULT_VARIABLE rc
  ERROR_VARIABLE text)
if(NOT rc EQUAL 0)
  message(FATAL_ERROR "[plugin] cannot list the symbols of ${FILE}: ${text}")
endif()
string(REGEX REPLACE "\n$" "" symbols "${symbols}")
string(REPLACE "\n" ";" symbols "${symbols}")
set(names "")
foreach(line IN LISTS symbols)
  string(REGEX REPLACE " .*" "" name "${line}")
  list(APPEND names "${name}")
endforeach()
if(NOT names STREQUAL "tetrad_plugin_v1")
  file(REMOVE "${FILE}")
  list(JOIN names ", " names)
  message(FATAL_ERROR "[plugin] ${FILE} exports '${names}', expected exactly 'tetrad_plugin_v1': write one "
    "TETRAD_PLUGIN(...) line in one of its sources, and export nothing else")
endif()
