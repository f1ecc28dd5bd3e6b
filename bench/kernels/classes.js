// Classes: making instances, inherited and overridden methods, getters. Returns their total.
(function () {
  class Shape {
    constructor(size) {
      this.size = size;
    }
    area() {
      return 0;
    }
    scaled(by) {
      return this.area() * by;
    }
    get weight() {
      return this.size & 7;
    }
  }
  class Square extends Shape {
    area() {
      return this.size * this.size;
    }
  }
  class Box extends Square {
    constructor(size, depth) {
      super(size);
      this.depth = depth;
    }
    area() {
      return super.area() * 2 + this.depth;
    }
  }
  let sum = 0;
  for (let i = 0; i < 240000; i++) {
    const shape = i % 2 ? new Square(i % 100) : new Box(i % 100, i % 10);
    sum = (sum + shape.scaled(2) + shape.weight) % 1000000007;
  }
  return sum;
})();
