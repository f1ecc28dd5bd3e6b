// Sorting: 85,000 numbers with a comparing function, twice. Returns a sum over their order.
(function () {
  let seed = 42;
  function next() {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed;
  }
  let sum = 0;
  for (let round = 0; round < 2; round++) {
    const numbers = [];
    for (let i = 0; i < 85000; i++) {
      numbers.push(next());
    }
    numbers.sort((a, b) => a - b);
    for (let i = 0; i < numbers.length; i += 1000) {
      sum = (sum * 31 + numbers[i]) % 1000000007;
    }
  }
  return sum;
})();
