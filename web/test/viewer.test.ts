/** What the viewer lays over scans, and what it refuses to draw. */

import { expect, test } from 'vitest'

import type { Affine, Grid } from '../src/pipeline/grid'
import { readNifti } from '../src/pipeline/nifti'
import { fromCodes } from '../src/view/files'
import { refuseUndrawable } from '../src/viewer/drawable'
import type { Exam, LabelMap } from '../src/viewer/exam'
import { imageBytes, usualWindow } from '../src/viewer/image'
import { agreement, ALL_LABELS, labelsOverlay, overlayNames, valuesOverlay } from '../src/viewer/overlay'

const GRID: Grid = { shape: [4, 3, 2], affine: [[0, 0, -2, 3], [1.5, 0, 0, -4], [0, -1, 0, 9]] as Affine }

function map(values: number[], grid = GRID): LabelMap {
  return { name: 'seg', grid, values: Uint8Array.from({ length: 24 }, (_, n) => values[n] ?? 0), header: new Uint8Array(348) }
}

test('a volume that is written for the drawing library is read back as it was', async () => {
  for (const values of [Float32Array.from({ length: 24 }, (_, n) => n - 3.5), Uint8Array.from({ length: 24 }, (_, n) => n)]) {
    const read = await readNifti('x', new Blob([imageBytes(GRID, values)]))
    expect([...read.values]).toEqual([...values])
    expect(read.grid).toEqual(GRID)
  }
  expect(() => imageBytes(GRID, new Uint8Array(23))).toThrow('do not fill')
})

test('agreement counts what both have, what was missed and what is extra', () => {
  const found = agreement(map([1, 3, 2, 0, 0, 3]), map([3, 3, 0, 0, 1, 2]), 'TC')
  expect([found?.agreed, found?.missed, found?.extra]).toEqual([2, 1, 1])
  expect(found?.dice).toBeCloseTo(4 / 6)
  expect([...(found?.overlay.values.subarray(0, 6) ?? [])]).toEqual([1, 1, 0, 0, 2, 3])
})

test('two empty regions agree, and maps on two grids are not compared', () => {
  expect(agreement(map([]), map([]), 'ET')?.dice).toBe(1)
  expect(agreement(map([]), map([], { ...GRID, affine: [[0, 0, -2, 4], [1.5, 0, 0, -4], [0, -1, 0, 9]] as Affine }), 'ET')).toBeNull()
})

test('a label that is switched off is clear, and so is the background', () => {
  const { colours } = labelsOverlay(map([]), 'okabe-ito', new Set([1, 3]))
  expect(colours.map((colour) => colour[3])).toEqual([0, 255, 0, 255])
  expect(labelsOverlay(map([]), 'paper', ALL_LABELS).colours[1]).toEqual([228, 26, 28, 255])
})

test('a value map is clear where it is near 0: the drawing library would tint the background otherwise', () => {
  const { colours } = valuesOverlay({ title: 'u', grid: GRID, values: new Uint8Array(24) })
  expect(colours).toHaveLength(256)
  expect(colours.slice(0, 3).every((colour) => colour[3] === 0)).toBe(true)
  expect(colours[255]?.[3]).toBe(255)
})

test('the menu offers what there is', () => {
  const exam: Exam = { id: 'p', title: 'p', scans: new Map(), segmentation: map([1]), reference: null, maps: [], facts: { model: '', flags: [], expected: [] } }
  expect(overlayNames(exam)).toEqual(['segmentation', 'none'])
  expect(overlayNames({ ...exam, reference: map([1]) })).toContain('agreement WT')
})

test('labels on disk become 0 to 3, and an unknown one is refused', () => {
  expect([...fromCodes('s', Float32Array.from([0, 4, 2, 1]), [0, 1, 2, 4])]).toEqual([0, 3, 2, 1])
  expect(() => fromCodes('s', Float32Array.from([3]), [0, 1, 2, 4])).toThrow('s: holds the label 3; known are 0, 1, 2, 4.')
})

test('the usual window leaves out the brightest voxels and the air', () => {
  const values = Float32Array.from({ length: 2000 }, (_, n) => (n < 1000 ? 0 : n - 1000))
  values[1999] = 1e6
  const [low, high] = usualWindow(values)
  expect(low).toBe(0)
  expect(high).toBeGreaterThan(900)
  expect(high).toBeLessThan(1000)
  expect(usualWindow(new Float32Array(10))).toEqual([0, 1])
})

test('without graphics, or with too small ones, the reason is said instead of a black picture', () => {
  const scans = [{ name: 'p_t1.nii.gz', grid: { ...GRID, shape: [4096, 3, 2] } as Grid }]
  expect(() => refuseUndrawable(null, scans)).toThrow('has no WebGL 2')
  expect(() => refuseUndrawable({ largestTexture: 2048, software: false }, scans)).toThrow('p_t1.nii.gz has 4096 x 3 x 2 voxels; the graphics of this computer hold 2048')
  expect(() => refuseUndrawable({ largestTexture: 4096, software: false }, scans)).not.toThrow()
})
