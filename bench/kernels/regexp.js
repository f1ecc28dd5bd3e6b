// Regular expressions: groups, alternatives and replacing in 10,000 lines. Returns what matched.
(function () {
  const lines = [];
  for (let i = 0; i < 10000; i++) {
    lines.push(
      "2024-0" +
        (1 + (i % 9)) +
        "-1" +
        (i % 10) +
        " user" +
        i +
        "@example" +
        (i % 13) +
        ".com GET /path/" +
        i +
        "?q=" +
        i * 7,
    );
  }
  const shape = /^(\d{4})-(\d{2})-(\d{2}) ([a-z0-9]+)@([a-z0-9.]+) (GET|POST) (\/[^?]*)\?q=(\d+)$/;
  let sum = 0;
  for (const line of lines) {
    const match = shape.exec(line);
    sum += Number(match[8]) + match[4].length + line.replace(/\d+/g, "#").length;
  }
  return sum;
})();
