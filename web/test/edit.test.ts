/** Correcting label maps: which voxels tools take, undoing, and what is kept of it. */

import { unzipSync } from 'fflate'
import { describe, expect, test } from 'vitest'

import { Correction } from '../src/edit/history'
import { correctedCase, provenance } from '../src/edit/saving'
import { between, disc, grow, part, way } from '../src/edit/shapes'
import type { Affine, Grid, Triple } from '../src/pipeline/grid'
import { readNifti } from '../src/pipeline/nifti'
import type { LabelMap } from '../src/viewer/exam'
import { imageBytes } from '../src/viewer/image'
import { axisAlong, indexOf, pointOf, voxelAt } from '../src/viewer/places'

/** Axes to the left, to the back and up, as BraTS has them; 1 x 2 x 3 mm. */
const GRID: Grid = { shape: [12, 10, 8], affine: [[-1, 0, 0, 11], [0, -2, 0, 18], [0, 0, 3, -5]] as Affine }
/** The same turned: axes up, to the right, to the back. */
const TURNED: Grid = { shape: [8, 12, 10], affine: [[0, 1, 0, 0], [0, 0, -2, 18], [3, 0, 0, -5]] as Affine }

function emptyMap(grid: Grid = GRID): LabelMap {
  const values = new Uint8Array(grid.shape[0] * grid.shape[1] * grid.shape[2])
  return { name: 'p_seg.nii.gz', grid, values, header: new Uint8Array(imageBytes(grid, values)).slice(0, 348) }
}

const voxels = (indices: Iterable<number>, { shape }: Grid = GRID) =>
  [...indices].sort((a, b) => a - b).map((index) => [index % shape[0], Math.floor(index / shape[0]) % shape[1], Math.floor(index / (shape[0] * shape[1]))])

describe('places', () => {
  test.each([GRID, TURNED])('every voxel is found again at its point', (grid) => {
    for (const voxel of [[0, 0, 0], [7, 3, 2], [1, 8, 5]] as Triple[]) expect(voxelAt(grid, pointOf(grid, voxel))).toEqual(voxel)
  })

  test('outside the grid there is no voxel', () => {
    expect(voxelAt(GRID, pointOf(GRID, [-1, 0, 0]))).toBeNull()
    expect(voxelAt(GRID, pointOf(GRID, [0, 0, 7.6]))).toBeNull()
  })

  test('the axis of a plane follows the affine, not the order in the file', () => {
    expect([0, 1, 2].map((world) => axisAlong(GRID, world as 0))).toEqual([0, 1, 2])
    expect([0, 1, 2].map((world) => axisAlong(TURNED, world as 0))).toEqual([1, 2, 0])
  })
})

describe('shapes', () => {
  test('a disc is round in mm and stays in its slice', () => {
    expect(voxels(disc(GRID, [5, 5, 3], 2, 2))).toEqual([[5, 4, 3], [3, 5, 3], [4, 5, 3], [5, 5, 3], [6, 5, 3], [7, 5, 3], [5, 6, 3]])
  })

  test('a disc of radius 0 is its voxel, and one at the edge is cut', () => {
    expect(voxels(disc(GRID, [0, 0, 0], 0, 0))).toEqual([[0, 0, 0]])
    expect(voxels(disc(GRID, [0, 0, 0], 2, 1))).toEqual([[0, 0, 0], [1, 0, 0]])
  })

  test('a way has no gaps', () => {
    expect(way([0, 0, 0], [3, 1, 0])).toEqual([[0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 1, 0]])
  })

  test('growing takes what is alike and connected, and stops at the radius', () => {
    const values = new Float32Array(12 * 10 * 8)
    for (let i = 2; i < 10; i++) values[indexOf(GRID, [i, 4, 4])] = 100
    values[indexOf(GRID, [2, 8, 4])] = 100
    const all = grow(GRID, values, [2, 4, 4], 0.1, 100, 40)
    expect(voxels(all.indices)).toEqual([2, 3, 4, 5, 6, 7, 8, 9].map((i) => [i, 4, 4]))
    expect(all.stopped).toBe(false)
    const near = grow(GRID, values, [2, 4, 4], 0.1, 100, 3)
    expect(near.indices).toHaveLength(4)
    expect(near.stopped).toBe(true)
  })

  test('a part is what hangs together by faces', () => {
    const { values } = emptyMap()
    for (const voxel of [[1, 1, 1], [2, 1, 1], [3, 2, 1]]) values[indexOf(GRID, voxel)] = 2
    values[indexOf(GRID, [2, 2, 1])] = 1
    expect(voxels(part(GRID, values, [1, 1, 1]))).toEqual([[1, 1, 1], [2, 1, 1]])
  })

  test('between two equal slices lies the same shape, in every slice', () => {
    const { values } = emptyMap()
    for (const k of [1, 5]) for (let j = 3; j < 7; j++) for (let i = 2; i < 9; i++) values[indexOf(GRID, [i, j, k])] = 3
    const found = voxels(between(GRID, values, 3, 2, 1, 5))
    for (const k of [2, 3, 4]) expect(found.filter((voxel) => voxel[2] === k)).toHaveLength(28)
    expect(found).toHaveLength(84)
  })

  test('a shape that shrinks is of middle size in the middle', () => {
    const { values } = emptyMap()
    for (let j = 1; j < 9; j++) for (let i = 1; i < 11; i++) values[indexOf(GRID, [i, j, 0])] = 1
    for (let j = 4; j < 6; j++) for (let i = 4; i < 8; i++) values[indexOf(GRID, [i, j, 2])] = 1
    const middle = between(GRID, values, 1, 2, 0, 2).length
    expect(middle).toBeGreaterThan(8)
    expect(middle).toBeLessThan(80)
  })

  test('a slice without the label gives nothing', () => {
    expect(between(GRID, emptyMap().values, 1, 2, 0, 4)).toEqual([])
  })
})

describe('history', () => {
  test('undo and redo give back every voxel and the counts', () => {
    const correction = new Correction(emptyMap())
    correction.set('paint', [1, 2, 3], 2)
    correction.set('erase', [2, 9], 0)
    const after = correction.map.values.slice()
    correction.undo()
    expect(correction.voxels(2)).toBe(3)
    correction.undo()
    expect(correction.map.values).toEqual(correction.original)
    expect(correction.canUndo).toBe(false)
    correction.redo()
    correction.redo()
    expect(correction.map.values).toEqual(after)
    expect(correction.voxels(2)).toBe(2)
  })

  test('a stroke is one step, however often it passes a voxel', () => {
    const correction = new Correction(emptyMap())
    correction.begin('paint')
    correction.set('paint', [4, 5], 1)
    correction.set('paint', [5, 6], 1)
    correction.end()
    expect(correction.used()).toEqual([{ tool: 'paint', steps: 1, voxels: 3 }])
    correction.undo()
    expect(correction.moved()).toEqual([])
  })

  test('what changes nothing is no step', () => {
    const correction = new Correction(emptyMap())
    expect(correction.set('erase', [1, 2], 0)).toBe(0)
    expect(correction.canUndo).toBe(false)
  })

  test('a new step after undoing ends what could be redone', () => {
    const correction = new Correction(emptyMap())
    correction.set('paint', [1], 1)
    correction.undo()
    correction.set('paint', [2], 1)
    expect(correction.canRedo).toBe(false)
  })
})

describe('saving', () => {
  const about = { caseId: 'p', who: 'A. B.', when: '2026-11-27T12:00:00Z', tool: 'gliomask view', original: 'p_seg.nii.gz' }

  test.each([GRID, TURNED])('a painted place is at the same millimetres in the saved file: nothing is mirrored', async (grid) => {
    const correction = new Correction(emptyMap(grid))
    const place: Triple = pointOf(grid, [1, 8, 6])
    const voxel = voxelAt(grid, place) as Triple
    correction.set('paint', [indexOf(grid, voxel)], 3)
    const zip = unzipSync(new Uint8Array(await (await correctedCase(correction, about, new Map())).arrayBuffer()))
    const saved = await readNifti('seg', new Blob([zip['p/p_seg.nii.gz'] as Uint8Array<ArrayBuffer>]))
    expect(saved.grid).toEqual(grid)
    const at = [...saved.values].flatMap((value, index) => (value ? [index] : []))
    expect(at).toHaveLength(1)
    expect(saved.values[at[0] as number]).toBe(4)
    expect(pointOf(saved.grid, voxels(at, saved.grid)[0] as number[])).toEqual(place)
  })

  test('provenance says who changed what, in ml', () => {
    const map = emptyMap()
    map.values.fill(2, 0, 10)
    const correction = new Correction(map)
    correction.set('relabel', [0, 1, 2], 3)
    correction.set('erase', [9], 0)
    const found = provenance(correction, about)
    expect(found['changed']).toEqual([{ from: 'oedema', to: 'background', voxels: 1, ml: 0.006 }, { from: 'oedema', to: 'enhancing', voxels: 3, ml: 0.018 }])
    expect(found['volumes_before_ml']).toEqual({ necrotic: 0, oedema: 0.06, enhancing: 0 })
    expect(found['volumes_after_ml']).toEqual({ necrotic: 0, oedema: 0.036, enhancing: 0.018 })
    expect(found['who']).toBe('A. B.')
  })

  test('a name of a case never leads out of its folder', async () => {
    const zip = await correctedCase(new Correction(emptyMap()), { ...about, caseId: '../../etc' }, new Map())
    for (const name of Object.keys(unzipSync(new Uint8Array(await zip.arrayBuffer())))) expect(name).not.toMatch(/(^|\/)\.\.(\/|$)/)
  })
})
