# vinfer_add_kernels(<target> <file>...): compiles the files once a CPU level and links all of them
# into the target, which chooses at run time. See csrc/core/cpu_level.h.
function(vinfer_add_kernels target)
  set(levels baseline)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    list(APPEND levels avx2 avx512)
  endif()
  set(flags_baseline "")
  set(flags_avx2 -mavx2 -mfma -mf16c)
  set(flags_avx512 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  # What no test on this machine can run is linked only: its sanitizers would take minutes.
  set(unsanitized_avx512 "")
  if(VINFER_SANITIZE AND EXISTS /proc/cpuinfo)
    file(STRINGS /proc/cpuinfo can_run_avx512 REGEX "avx512vl" LIMIT_COUNT 1)
    if(NOT can_run_avx512)
      set(unsanitized_avx512 -fno-sanitize=all)
    endif()
  endif()
  foreach(level IN LISTS levels)
    set(objects ${target}_${level})
    add_library(${objects} OBJECT ${ARGN})
    target_compile_definitions(${objects} PRIVATE VINFER_LEVEL=${level})
    # -Wno-psabi: vectors are passed between inlined functions only, so their ABI is of no concern.
    target_compile_options(${objects} PRIVATE
      $<TARGET_PROPERTY:${target},INTERFACE_COMPILE_OPTIONS> ${flags_${level}}
      ${unsanitized_${level}} -Wno-psabi)
    target_compile_features(${objects} PRIVATE cxx_std_20)
    target_include_directories(${objects} PRIVATE csrc)
    set_target_properties(${objects} PROPERTIES
      CXX_EXTENSIONS OFF
      CXX_VISIBILITY_PRESET hidden
      VISIBILITY_INLINES_HIDDEN ON
      POSITION_INDEPENDENT_CODE ON)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
endfunction()
