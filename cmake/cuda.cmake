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
