# libvinfer_ort.so, the custom ops of ONNX Runtime. It is built without any header of ONNX Runtime
# and runs in 1.17 and later.
add_library(vinfer_ort MODULE
  csrc/bindings/ort/attributes.cpp
  csrc/bindings/ort/call.cpp
  csrc/bindings/ort/library.cpp
  csrc/bindings/ort/ops.cpp
  csrc/bindings/ort/shape_inference.cpp)
target_link_libraries(vinfer_ort PRIVATE vinfer_core)
if(VINFER_HAVE_CUDA)
  find_package(CUDAToolkit REQUIRED)
  target_compile_definitions(vinfer_ort PRIVATE VINFER_HAVE_CUDA)
  target_link_libraries(vinfer_ort PRIVATE CUDA::cudart_static)
endif()
set_target_properties(vinfer_ort PROPERTIES
  CXX_EXTENSIONS OFF
  CXX_VISIBILITY_PRESET hidden
  VISIBILITY_INLINES_HIDDEN ON
  LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/csrc/bindings/ort/library.map)
# The map also hides what the C++ library's headers would export. Never unloaded: sessions of other
# copies of ONNX Runtime in the process may still point to its ops.
target_link_options(vinfer_ort PRIVATE
  -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/csrc/bindings/ort/library.map
  -Wl,--exclude-libs,ALL -Wl,--no-undefined -Wl,-z,nodelete)
install(TARGETS vinfer_ort DESTINATION vinfer/lib)
