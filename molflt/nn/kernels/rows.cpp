// Directed edges sorted by their receiver.

#include <cstdint>

#define EXPORT extern "C" __attribute__((visibility("default")))

// Counting sort of the directed edges by receiver. `half` is twice the number of the
// pair, plus one where the edge runs against the pair's direction.
EXPORT void sort_rows(int64_t atoms, int64_t pairs, const int64_t* first,
                      const int64_t* second, int64_t* start, int32_t* sender,
                      int32_t* half) {
  for (int64_t a = 0; a <= atoms; ++a) start[a] = 0;
  for (int64_t p = 0; p < pairs; ++p) {
    ++start[first[p] + 1];
    ++start[second[p] + 1];
  }
  for (int64_t a = 0; a < atoms; ++a) start[a + 1] += start[a];
  for (int64_t p = 0; p < pairs; ++p) {
    const int64_t i = start[first[p]]++;
    sender[i] = static_cast<int32_t>(second[p]);
    half[i] = static_cast<int32_t>(2 * p);
    const int64_t j = start[second[p]]++;
    sender[j] = static_cast<int32_t>(first[p]);
    half[j] = static_cast<int32_t>(2 * p + 1);
  }
  for (int64_t a = atoms; a > 0; --a) start[a] = start[a - 1];
  start[0] = 0;
}
