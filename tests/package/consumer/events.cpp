#include <stepsize/tensorboard/event_writer.h>

int main() {
  stepsize::EventWriter events("events");
  events.scalar("loss", 1, 0.5);
  return 0;
}
