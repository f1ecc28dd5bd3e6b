// JSON: 2,000 records to text and back, 34 times. Returns a sum over what came back.
(function () {
  const records = [];
  for (let i = 0; i < 2000; i++) {
    records.push({
      id: i,
      name: "record " + i,
      tags: ["a", "b", "c" + (i % 7)],
      nested: { x: i * 0.5, ok: i % 2 === 0, none: null },
    });
  }
  let sum = 0;
  for (let round = 0; round < 34; round++) {
    const text = JSON.stringify(records);
    const back = JSON.parse(text);
    sum += text.length + back[round].nested.x + back.length;
  }
  return sum;
})();
