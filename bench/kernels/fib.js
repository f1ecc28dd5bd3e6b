// Calls: the recursion of fib(27), 832,039 of them. Returns the number.
(function () {
  function fib(n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
  }
  return fib(27);
})();
