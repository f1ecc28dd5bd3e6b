// Objects: making, reading and writing properties, and a Map. Returns a sum over them.
(function () {
  const objects = [];
  for (let i = 0; i < 75000; i++) {
    objects.push({ a: i, b: i * 2, c: "k" + (i % 100), d: { e: i } });
  }
  const counts = new Map();
  const totals = {};
  let sum = 0;
  for (const object of objects) {
    object.a += object.b;
    sum = (sum + object.a + object.d.e) % 1000000007;
    totals[object.c] = (totals[object.c] || 0) + object.b;
    counts.set(object.c, (counts.get(object.c) || 0) + 1);
  }
  for (const key of Object.keys(totals)) {
    sum = (sum + totals[key] * counts.get(key)) % 1000000007;
  }
  return sum;
})();
