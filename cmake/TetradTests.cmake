# tetrad_add_test(<name> SOURCES a.cpp ... [LIBS lib ...] [LABELS l ...]): one GoogleTest program = one ctest entry.
# TETRAD_SOURCE_DIR and TETRAD_BINARY_DIR are defined as strings for tests that read data or start our programs.
# A program is skipped when each of its tests was (exit code 77, tests/support/test_main.cpp); LABELS serve `ctest -L`.
if(TETRAD_TESTS)
  find_package(GTest REQUIRED)
  add_library(tetrad_test_main STATIC EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/support/test_main.cpp)
  tetrad_target(tetrad_test_main)
  target_link_libraries(tetrad_test_main PUBLIC GTest::gtest GTest::gmock)
endif()

function(tetrad_add_test name)
  cmake_parse_arguments(T "" "" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  tetrad_target(${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE TETRAD_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    TETRAD_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE ${T_LIBS} tetrad_test_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS "${T_LABELS}")
endfunction()

# tetrad_add_pytest(<name> FILES a.py ... [LABELS l ...] [TIMEOUT seconds]): Python tests as one ctest entry, run by .venv's
# python (requirements-test.txt). TETRAD_BUILD in the environment is this build tree.
function(tetrad_add_pytest name)
  cmake_parse_arguments(T "" "TIMEOUT" "FILES;LABELS" ${ARGN})
  list(TRANSFORM T_FILES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ REGEX "^[^/]")
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 900)
  endif()
  add_test(NAME ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    COMMAND ${PROJECT_SOURCE_DIR}/.venv/bin/python -m pytest -q -ra -p no:cacheprovider ${T_FILES})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}"
    ENVIRONMENT "TETRAD_BUILD=${PROJECT_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1;HF_HUB_OFFLINE=1")
endfunction()
