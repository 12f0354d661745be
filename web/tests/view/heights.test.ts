import { expect, test } from "vitest";

import { Heights } from "../../src/view/heights";

test("estimates until measured", () => {
  const heights = new Heights(50);
  heights.setKeys(["a", "b", "c"]);
  expect(heights.total).toBe(150);
  heights.measure("b", 80);
  expect([0, 1, 2, 3].map((index) => heights.offset(index))).toEqual([0, 50, 130, 180]);
});

test("finds the row at a distance", () => {
  const heights = new Heights(50);
  heights.setKeys(["a", "b", "c"]);
  heights.measure("b", 80);
  expect([-10, 0, 49, 50, 129, 130, 10_000].map((distance) => heights.indexAt(distance))).toEqual([0, 0, 0, 1, 1, 2, 2]);
});

test("keeps measurements when rows are put before", () => {
  const heights = new Heights(50);
  heights.setKeys(["b"]);
  heights.measure("b", 80);
  heights.setKeys(["a", "b"]);
  expect(heights.offset(heights.indexOf("b"))).toBe(50);
  expect(heights.total).toBe(130);
  expect(heights.indexOf("gone")).toBe(-1);
  heights.forget();
  expect(heights.total).toBe(100);
});

test("is at home with nothing", () => {
  const heights = new Heights(50);
  expect([heights.total, heights.indexAt(0), heights.keyAt(0)]).toEqual([0, 0, undefined]);
});
