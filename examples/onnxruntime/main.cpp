// Runs a model with vinfer's nodes in ONNX Runtime, without Python:
//
//   roi_align MODEL [LIBRARY] [--cuda]
//
// Without LIBRARY, the path of libvinfer_ort.so, the bodies in the model run instead of the
// kernels.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace {

struct Arguments {
  std::string model;
  std::string library;  // empty: none
  bool cuda = false;
};

bool parse(int count, char** texts, Arguments& arguments) {
  std::vector<std::string> paths;
  for (int i = 1; i < count; ++i) {
    const std::string text = texts[i];
    if (text == "--cuda") {
      arguments.cuda = true;
    } else {
      paths.push_back(text);
    }
  }
  if (paths.empty() || paths.size() > 2) return false;
  arguments.model = paths[0];
  // Absolute: a bare file name is looked for where the system's libraries are.
  if (paths.size() == 2) arguments.library = std::filesystem::absolute(paths[1]).string();
  return true;
}

Ort::Session open_session(Ort::Env& env, const Arguments& arguments) {
  Ort::SessionOptions options;
  if (!arguments.library.empty()) options.RegisterCustomOpsLibrary(arguments.library.c_str());
  if (arguments.cuda) {
    options.AppendExecutionProvider_CUDA(OrtCUDAProviderOptions{});
    // Without this, nodes that have no kernel for CUDA run on the CPU in silence.
    options.AddConfigEntry("session.disable_cpu_ep_fallback", "1");
  }
  return Ort::Session(env, arguments.model.c_str(), options);
}

// Numbers that roi_align.py makes too: a feature map of two pictures, and five boxes in them.
struct Inputs {
  std::array<std::int64_t, 4> features_shape{2, 32, 24, 40};
  std::vector<float> features;
  std::array<std::int64_t, 2> boxes_shape{5, 4};
  std::array<float, 20> boxes{0,  0,  640, 384, 100, 50,  220.5, 333.25, 10,  20,
                              30, 40, 600, 300, 700, 400, 320,   100,    480, 260};
  std::array<std::int64_t, 1> batch_indices_shape{5};
  std::array<std::int64_t, 5> batch_indices{0, 0, 0, 1, 1};

  Inputs() : features(2 * 32 * 24 * 40) {
    for (std::size_t i = 0; i < features.size(); ++i) {
      features[i] = static_cast<float>(i * 7919 % 1000) / 1000.0f;
    }
  }

  // The tensors borrow this object's memory.
  std::array<Ort::Value, 3> tensors() {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    return {tensor(memory, features, features_shape),
            tensor(memory, boxes, boxes_shape),
            tensor(memory, batch_indices, batch_indices_shape)};
  }

 private:
  template <typename Values, typename Shape>
  static Ort::Value tensor(const Ort::MemoryInfo& memory, Values& values, const Shape& shape) {
    return Ort::Value::CreateTensor(
        memory, values.data(), values.size(), shape.data(), shape.size());
  }
};

// As zlib has it: the same bits give the same number.
std::uint32_t adler32(const void* data, std::size_t size) {
  std::uint32_t a = 1, b = 0;
  for (std::size_t i = 0; i < size; ++i) {
    a = (a + static_cast<const unsigned char*>(data)[i]) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

void print(const char* name, const Ort::Value& tensor) {
  const auto info = tensor.GetTensorTypeAndShapeInfo();
  const float* const values = tensor.GetTensorData<float>();
  const std::size_t size = info.GetElementCount();
  std::string shape;
  for (const std::int64_t extent : info.GetShape()) {
    shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
  }
  double sum = 0.0;
  for (std::size_t i = 0; i < size; ++i) sum += values[i];
  std::printf("%s [%s] mean %.6f %08x\n",
              name,
              shape.c_str(),
              sum / static_cast<double>(size),
              adler32(values, size * sizeof(float)));
}

void run(const Arguments& arguments) {
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "roi_align");
  Ort::Session session = open_session(env, arguments);
  Inputs inputs;
  const auto tensors = inputs.tensors();
  const std::array<const char*, 3> input_names{"features", "boxes", "batch_indices"};
  const std::array<const char*, 2> output_names{"pooled", "embedding"};
  const std::vector<Ort::Value> outputs = session.Run(Ort::RunOptions{},
                                                      input_names.data(),
                                                      tensors.data(),
                                                      tensors.size(),
                                                      output_names.data(),
                                                      output_names.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) print(output_names[i], outputs[i]);
}

}  // namespace

int main(int count, char** texts) {
  Arguments arguments;
  if (!parse(count, texts, arguments)) {
    std::fputs("usage: roi_align MODEL [LIBRARY] [--cuda]\n", stderr);
    return 2;
  }
  try {
    run(arguments);
  } catch (const Ort::Exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
