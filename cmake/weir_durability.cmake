# The scenarios on real file systems: on a disk that is recorded and cut, and killed.
pkg_check_modules(fuse3 REQUIRED IMPORTED_TARGET fuse3)
add_executable(durability
  tests/durability/real/main.cc
  tests/durability/real/cutting_campaign.cc
  tests/durability/real/killing_campaign.cc
  tests/durability/simulated/exploring_campaign.cc
  # One scenario on one file system; one that is killed.
  tests/durability/real/trial.cc
  tests/durability/real/killing.cc
  # The disk: what is written to it; who serves it; file systems on it; what a cut leaves.
  tests/durability/real/recording.cc
  tests/durability/real/served_disk.cc
  tests/durability/real/file_system.cc
  tests/durability/real/cuts.cc
  # Scenarios that need a kernel, and what the command copies with.
  tests/durability/real/copying.cc
  tests/durability/real/putting.cc
  tools/weir/copier.cc
  tools/weir/copy_plan.cc
  tools/weir/checksum.cc
  tools/weir/failures.cc
  tools/weir/progress.cc
  tools/weir/file_system.cc
  tools/weir/mount_table.cc
  tools/weir/formatted.cc
  tools/weir/temporary_file.cc)
set_target_properties(durability PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
target_include_directories(durability PRIVATE tests tools/weir)
target_link_libraries(durability PRIVATE
  weir_exploring weir_scenarios weir_test_support CLI11::CLI11 PkgConfig::fuse3 PkgConfig::xxhash)
weir_warnings(durability)
weir_quickly_compiled(durability)

# What a disk's contents are at a cut, without a disk.
weir_test(cuts_test tests/durability/real/cuts_test.cc
  tests/durability/real/cuts.cc tests/durability/real/recording.cc)

add_test(NAME durability_disks COMMAND durability disks --seconds 24 --seed 1)
add_test(NAME durability_kills COMMAND durability kills --seconds 8 --seed 1)
set_tests_properties(durability_disks durability_kills PROPERTIES SKIP_RETURN_CODE 77)
