# Decides whether the CUDA kernels are built; sets VINFER_HAVE_CUDA.
set(VINFER_HAVE_CUDA OFF)
if(NOT VINFER_CUDA STREQUAL "OFF")
  # Before the language is checked: CMake's own default is a single old architecture.
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES "75-real;80-real;86-real;89-real;90-real;100-real;120" CACHE STRING
      "GPU architectures, of 75 80 86 87 88 89 90 100 103 110 120 121")
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(VINFER_HAVE_CUDA ON)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    enable_language(CUDA)
  elseif(VINFER_CUDA STREQUAL "ON")
    message(FATAL_ERROR
      "VINFER_CUDA=ON, but no CUDA compiler was found: install the CUDA toolkit, put nvcc on PATH "
      "or name it with CMAKE_CUDA_COMPILER")
  endif()
endif()
message(STATUS "vinfer: VINFER_CUDA=${VINFER_CUDA}, CUDA kernels: ${VINFER_HAVE_CUDA}")

# vinfer_add_cuda(<target> <file>...): compiles the kernels into the target, or what refuses to run
# in their place. The CUDA runtime is linked statically and its symbols stay inside: whoever loads
# our library may have another version of it, and needs neither it nor a driver to load ours.
function(vinfer_add_cuda target)
  if(NOT VINFER_HAVE_CUDA)
    target_sources(${target} PRIVATE csrc/ops/no_cuda.cpp)
    return()
  endif()
  target_sources(${target} PRIVATE ${ARGN})
  target_compile_definitions(${target} PUBLIC VINFER_HAVE_CUDA=1)
  target_include_directories(${target} SYSTEM PUBLIC ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  # No contraction, as on the CPU; where a fused step is meant the kernels call fmaf.
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false -Xcompiler=-Wall,-Wextra,-Werror,-ffp-contract=off>)
  target_link_options(${target} INTERFACE LINKER:--exclude-libs,ALL)
  set_target_properties(${target} PROPERTIES
    CUDA_STANDARD 20
    CUDA_STANDARD_REQUIRED ON
    CUDA_EXTENSIONS OFF
    CUDA_VISIBILITY_PRESET hidden)
endfunction()
