// Tasks in a row.
//
//     continual [TRAINING IMAGES [FOLDER FOR THE PICTURE]]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "../recipes/fashion_mnist.h"

int main(int argc, char** argv) {
  torch::manual_seed(0);
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 10000));
  std::printf("%d images\n", int(train.size()));
  return 0;
}
