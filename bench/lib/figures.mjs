// How figures and tables of them are written. Invariant: a unit always, and three digits.

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const align = head.map((_, index) => (index === 0 ? "---" : "---:"));
  return [line(head), line(align), ...rows.map(line)];
}

/** Three digits that mean something. */
export function digits(value) {
  const whole = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(whole, 4));
}

export function ms(value) {
  return value < 0.1 ? `${digits(value * 1000)} µs` : `${digits(value)} ms`;
}

export function times(value) {
  return `${value.toFixed(2)}x`;
}

export function count(value) {
  return Math.round(value).toLocaleString("en-US");
}

export function kib(value) {
  return value < 1024 ? `${Math.round(value)} KiB` : `${(value / 1024).toFixed(1)} MiB`;
}
