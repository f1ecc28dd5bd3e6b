// Strings: appending, joining, slicing and searching. Returns a sum over their characters.
(function () {
  let text = "";
  for (let i = 0; i < 110000; i++) {
    text += "item " + i + ";";
  }
  const parts = text.split(";");
  const joined = parts.slice(0, 50000).join("|");
  let sum = text.length + joined.length + joined.indexOf("item 49999");
  for (let i = 0; i < joined.length; i += 7) {
    sum = (sum * 31 + joined.charCodeAt(i)) % 1000000007;
  }
  return sum;
})();
