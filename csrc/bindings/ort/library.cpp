// libvinfer_ort.so: all that a program needs to run vinfer's nodes in ONNX Runtime.
#include <map>
#include <mutex>
#include <vector>

#include "bindings/ort/ops.h"

namespace vinfer::ort {
namespace {

constexpr const char* kDomain = "vinfer";
constexpr const char* kTooOld =
    "vinfer's custom ops need ONNX Runtime 1.17 or newer; update it, or run the model without them "
    "if it carries function bodies";

// What one runtime was given. Sessions point into it as long as they live, so it is never freed;
// all sessions of a runtime share it.
struct Registration {
  std::vector<RegisteredOp> ops;
  Domain* domain = nullptr;
};

Registration make_registration(const Api& api) {
  Registration made{make_ops(api)};
  check(api.get<Error*(const char*, Domain**)>(Slot::CreateCustomOpDomain)(kDomain, &made.domain));
  for (const RegisteredOp& op : made.ops) {
    Error* const error =
        api.get<Error*(Domain*, const CustomOp*)>(Slot::CustomOpDomain_Add)(made.domain, &op);
    if (error == nullptr) continue;
    api.get<void(Domain*)>(Slot::ReleaseCustomOpDomain)(made.domain);
    throw Failure{error};
  }
  return made;
}

// One process may hold several copies of ONNX Runtime.
const Registration& registration_for(const Api& api) {
  static std::mutex mutex;
  static auto& registrations = *new std::map<const void*, Registration>();
  const std::lock_guard lock(mutex);
  const auto found = registrations.find(api.table());
  if (found != registrations.end()) return found->second;
  return registrations.emplace(api.table(), make_registration(api)).first->second;
}

}  // namespace
}  // namespace vinfer::ort

extern "C" __attribute__((visibility("default"))) vinfer::ort::Error* RegisterCustomOps(
    vinfer::ort::SessionOptions* options, const vinfer::ort::ApiBase* base) {
  using namespace vinfer::ort;
  const void* const table = base->get_api(kApiVersion);
  if (table == nullptr) {
    return Api(base->get_api(1)).make_error(ErrorCode::kFail, kTooOld);
  }
  const Api api(table);
  return guarded(api, [&] {
    check(api.get<Error*(SessionOptions*, Domain*)>(Slot::AddCustomOpDomain)(
        options, registration_for(api).domain));
  });
}
