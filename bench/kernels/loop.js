// Arithmetic: ten million rounds of an integer loop. Returns its sum.
(function () {
  let sum = 0;
  for (let i = 0; i < 10000000; i++) {
    sum = (sum + i) & 0xffffff;
  }
  return sum;
})();
