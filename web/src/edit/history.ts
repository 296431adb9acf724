/** A label map that is being corrected: every change can be undone and redone, and the volumes are counted as it goes. */

import { voxelMl } from '../pipeline/grid'
import type { LabelMap } from '../viewer/exam'

export type Tool = 'paint' | 'erase' | 'fill' | 'grow' | 'relabel'

/** Bytes of changes that are kept for undoing; the oldest go first. */
const MAX_HISTORY_BYTES = 64 << 20
const BYTES_PER_VOXEL = 6

/** One step: what a stroke or a tool changed. */
interface Step {
  readonly tool: Tool
  readonly indices: Uint32Array
  readonly before: Uint8Array
  readonly after: Uint8Array
}

/** Voxels that went from one label to another. */
export interface Moved {
  readonly from: number
  readonly to: number
  readonly voxels: number
  readonly ml: number
}

/** How often a tool was used, undone steps not counted. */
export interface Used {
  readonly tool: Tool
  readonly steps: number
  readonly voxels: number
}

/** The corrections of one label map; its values are changed in place. */
export class Correction {
  /** Called after each change. */
  onChange: () => void = () => undefined

  /** The label map as it was. */
  readonly original: Uint8Array<ArrayBuffer>
  private readonly counts = [0, 0, 0, 0]
  private readonly done: Step[] = []
  private undone: Step[] = []
  private stroke: Map<number, number> | null = null
  private strokeTool: Tool = 'paint'

  constructor(readonly map: LabelMap) {
    this.original = map.values.slice()
    for (const value of map.values) this.counts[value] = (this.counts[value] as number) + 1
  }

  /** Starts a step that may take many changes, such as a stroke of the brush. */
  begin(tool: Tool): void {
    this.stroke = new Map()
    this.strokeTool = tool
  }

  /** Gives voxels a label; returns how many changed. Outside a stroke it is a step of its own. */
  set(tool: Tool, indices: Iterable<number>, label: number): number {
    const alone = this.stroke === null
    if (alone) this.begin(tool)
    let changed = 0
    for (const index of indices) {
      const before = this.map.values[index]
      if (before === undefined || before === label) continue
      if (!this.stroke?.has(index)) this.stroke?.set(index, before)
      this.put(index, label)
      changed++
    }
    if (alone) this.end()
    else if (changed) this.onChange()
    return changed
  }

  /** Ends a step. */
  end(): void {
    const stroke = this.stroke
    this.stroke = null
    if (!stroke?.size) return
    const indices = Uint32Array.from(stroke.keys())
    const step = { tool: this.strokeTool, indices, before: Uint8Array.from(stroke.values()), after: Uint8Array.from(indices, (i) => this.map.values[i] as number) }
    this.done.push(step)
    this.undone = []
    this.forget()
    this.onChange()
  }

  get canUndo(): boolean {
    return this.done.length > 0
  }

  get canRedo(): boolean {
    return this.undone.length > 0
  }

  /** Takes the last step back. */
  undo(): void {
    this.move(this.done, this.undone, 'before')
  }

  /** Does the last step that was undone again. */
  redo(): void {
    this.move(this.undone, this.done, 'after')
  }

  /** Voxels of a label now. */
  voxels(label: number): number {
    return this.counts[label] ?? 0
  }

  /** What differs from the label map as it was, by pairs of labels. */
  moved(): Moved[] {
    const pairs = new Map<number, number>()
    for (let v = 0; v < this.original.length; v++) {
      const [from, to] = [this.original[v] as number, this.map.values[v] as number]
      if (from !== to) pairs.set(4 * from + to, (pairs.get(4 * from + to) ?? 0) + 1)
    }
    const oneMl = voxelMl(this.map.grid)
    return [...pairs]
      .sort(([a], [b]) => a - b)
      .map(([pair, voxels]) => ({ from: pair >> 2, to: pair & 3, voxels, ml: Math.round(voxels * oneMl * 1000) / 1000 }))
  }

  /** Which tools made what is there. */
  used(): Used[] {
    const found = new Map<Tool, { steps: number; voxels: number }>()
    for (const { tool, indices } of this.done) {
      const one = found.get(tool) ?? { steps: 0, voxels: 0 }
      found.set(tool, { steps: one.steps + 1, voxels: one.voxels + indices.length })
    }
    return [...found].map(([tool, amount]) => ({ tool, ...amount }))
  }

  private move(from: Step[], to: Step[], which: 'before' | 'after'): void {
    const step = from.pop()
    if (!step) return
    step.indices.forEach((index, n) => this.put(index, step[which][n] as number))
    to.push(step)
    this.onChange()
  }

  private put(index: number, label: number): void {
    const before = this.map.values[index] as number
    this.counts[before] = (this.counts[before] as number) - 1
    this.counts[label] = (this.counts[label] as number) + 1
    this.map.values[index] = label
  }

  private forget(): void {
    let bytes = this.done.reduce((sum, step) => sum + BYTES_PER_VOXEL * step.indices.length, 0)
    while (bytes > MAX_HISTORY_BYTES && this.done.length > 1) bytes -= BYTES_PER_VOXEL * (this.done.shift() as Step).indices.length
  }
}
