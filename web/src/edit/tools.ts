/** The tools of a person who corrects a label map: they work on the pictures of the viewer and change the exam's segmentation in place. */

import type { Triple } from '../pipeline/grid'
import { sameGrid } from '../pipeline/grid'
import { text } from '../text/en'
import { button, checkbox, make, menu, numberField } from '../viewer/dom'
import { LABELS, type LabelMap } from '../viewer/exam'
import { axisAlong, indexOf, type Plane, PLANES, voxelAt } from '../viewer/places'
import type { Frame, Viewer } from '../viewer/viewer'
import { Correction } from './history'
import { type Axis, between, disc, grow, part, way } from './shapes'

type Tool = 'look' | 'paint' | 'erase' | 'grow' | 'relabel'

/** Keeps a correction; returns what to tell the person. */
export type Save = (correction: Correction, who: string) => Promise<string>

/** Growing never goes farther from its seed, mm. */
const GROW_RADIUS_MM = 40

interface Settings {
  tool: Tool
  label: number
  radiusMm: number
  tolerance: number
  overOthers: boolean
}

export class Tools {
  readonly correction: Correction
  private readonly settings: Settings = { tool: 'look', label: 3, radiusMm: 3, tolerance: 0.1, overOthers: true }
  /** Slices that were painted since the last filling, by label and axis. */
  private readonly painted = new Map<string, Set<number>>()
  private lastPainted: readonly [number, Axis] | null = null
  private readonly panel = make('section', { className: 'edit' })
  private readonly undoButton = button(text.undo, () => this.correction.undo())
  private readonly redoButton = button(text.redo, () => this.correction.redo())
  private saved = true
  private waiting = false

  constructor(
    private readonly viewer: Viewer,
    private readonly map: LabelMap,
    private readonly save: Save,
  ) {
    this.correction = new Correction(map)
    this.correction.onChange = () => this.changed()
    this.viewer.onKey = (event) => this.key(event)
    this.build()
    for (const frame of viewer.frames) this.cover(frame)
    addEventListener('beforeunload', (event) => {
      if (!this.saved) event.preventDefault()
    })
  }

  private build(): void {
    const { settings } = this
    const tools = Object.entries(text.tools).map(([value, title]) => [value, title] as const)
    const labels = LABELS.map((label) => [String(label), text.label(label)] as const)
    const who = make('input', { type: 'text', autocomplete: 'name', maxLength: 100 })
    const tool = menu(text.tool, tools, settings.tool, (value) => this.take(value as Tool))
    tool.dataset['menu'] = 'tool'
    const drawLabel = menu(text.drawLabel, labels, String(settings.label), (value) => (settings.label = Number(value)))
    drawLabel.dataset['menu'] = 'label'
    this.panel.append(
      make('h2', { textContent: text.edit }),
      make('div', { className: 'row' }, tool, drawLabel),
      make(
        'div',
        { className: 'row' },
        numberField(text.radius, 'number', [settings.radiusMm, 0, 30, 0.5], (value) => (settings.radiusMm = value)),
        numberField(text.tolerance, 'number', [100 * settings.tolerance, 0, 100, 1], (value) => (settings.tolerance = value / 100)),
      ),
      checkbox(text.overOthers, settings.overOthers, (on) => (settings.overOthers = on)),
      make('div', { className: 'row' }, button(text.fill, () => this.fill()), this.undoButton, this.redoButton),
      make('div', { className: 'row' }, make('label', {}, make('span', { textContent: text.who }), who), button(text.save, () => void this.keep(who.value.trim()))),
    )
    this.viewer.side.prepend(this.panel)
    this.changed()
    this.saved = true
  }

  private take(tool: Tool): void {
    this.settings.tool = tool
    for (const frame of this.viewer.frames) {
      const glass = frame.figure.querySelector<HTMLElement>('.glass')
      if (glass) glass.hidden = tool === 'look'
    }
    if (tool !== 'look') void this.viewer.showOverlay('segmentation')
  }

  /** Puts a pane of glass before a picture: while a tool is taken, it gets the pointer. */
  private cover(frame: Frame): void {
    const glass = make('div', { className: 'glass', hidden: true })
    frame.canvas.parentElement?.append(glass)
    let last: Triple | null = null
    glass.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return
      glass.setPointerCapture(event.pointerId)
      frame.canvas.focus()
      last = this.start(frame, event)
    })
    glass.addEventListener('pointermove', (event) => {
      if (last) last = this.brush(frame, event, last) ?? last
    })
    for (const end of ['pointerup', 'pointercancel'] as const) {
      glass.addEventListener(end, () => {
        if (last) this.correction.end()
        last = null
      })
    }
    glass.addEventListener('wheel', (event) => {
      event.preventDefault()
      this.viewer.step(event.deltaY > 0 ? -1 : 1)
    })
  }

  /** The voxel of the label map under the pointer, and the axis of the plane that is drawn there. */
  private under(frame: Frame, event: PointerEvent): { readonly voxel: Triple; readonly axis: Axis; readonly point: Triple } | null {
    const place = frame.pane?.placeAt(event.offsetX, event.offsetY)
    const voxel = place && voxelAt(this.map.grid, place.point)
    return voxel ? { voxel, axis: axisAlong(this.map.grid, PLANES[place.plane as Plane]), point: place.point } : null
  }

  private start(frame: Frame, event: PointerEvent): Triple | null {
    const found = this.under(frame, event)
    if (!found) return null
    this.viewer.moveTo(found.point)
    const { tool } = this.settings
    if (tool === 'grow') this.growFrom(frame, found.point, found.voxel)
    else if (tool === 'relabel') this.relabel(found.voxel)
    if (tool !== 'paint' && tool !== 'erase') return null
    this.correction.begin(tool)
    this.dab(found.voxel, found.axis)
    return found.voxel
  }

  private brush(frame: Frame, event: PointerEvent, last: Triple): Triple | null {
    const found = this.under(frame, event)
    if (!found) return null
    for (const voxel of way(last, found.voxel)) this.dab(voxel, found.axis)
    return found.voxel
  }

  private dab(voxel: Triple, axis: Axis): void {
    const { tool, label, radiusMm } = this.settings
    const voxels = disc(this.map.grid, voxel, axis, radiusMm)
    if (tool === 'erase') {
      this.correction.set('erase', voxels, 0)
      return
    }
    this.correction.set('paint', this.allowed(voxels), label)
    const key = `${label} ${axis}`
    this.painted.set(key, (this.painted.get(key) ?? new Set()).add(voxel[axis]))
    this.lastPainted = [label, axis]
  }

  /** Without leave, other labels stay as they are. */
  private allowed(voxels: readonly number[]): number[] {
    return this.settings.overOthers ? [...voxels] : voxels.filter((index) => this.map.values[index] === 0)
  }

  private growFrom(frame: Frame, point: Triple, voxel: Triple): void {
    if (!sameGrid(frame.scan.grid, this.map.grid)) return this.viewer.say(text.growOtherGrid)
    const [low, high] = this.viewer.windowOf(frame)
    const found = grow(this.map.grid, frame.scan.values, voxel, this.settings.tolerance, high - low, GROW_RADIUS_MM)
    const changed = this.correction.set('grow', this.allowed(found.indices), this.settings.label)
    this.viewer.moveTo(point)
    this.viewer.say(`${text.grown(changed)}${found.stopped ? ` ${text.growStopped(GROW_RADIUS_MM)}` : ''}`)
  }

  private relabel(voxel: Triple): void {
    if (!this.map.values[indexOf(this.map.grid, voxel)]) return this.viewer.say(text.nothingThere)
    this.correction.set('relabel', part(this.map.grid, this.map.values, voxel), this.settings.label)
  }

  private fill(): void {
    const [label, axis] = this.lastPainted ?? [this.settings.label, 2 as Axis]
    const slices = [...(this.painted.get(`${label} ${axis}`) ?? [])].sort((a, b) => a - b)
    if ((slices.at(-1) ?? 0) - (slices[0] ?? 0) < 2) return this.viewer.say(text.fillNeedsTwo(text.label(label)))
    const found = slices.slice(1).flatMap((slice, n) => between(this.map.grid, this.map.values, label, axis, slices[n] as number, slice))
    this.painted.delete(`${label} ${axis}`)
    this.viewer.say(text.filled(this.correction.set('fill', this.allowed(found), label)))
  }

  private key(event: KeyboardEvent): void {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'z') return
    event.preventDefault()
    if (event.shiftKey) this.correction.redo()
    else this.correction.undo()
  }

  /** Redraws once a frame, however many dabs there were. */
  private changed(): void {
    this.saved = false
    this.undoButton.disabled = !this.correction.canUndo
    this.redoButton.disabled = !this.correction.canRedo
    if (this.waiting) return
    this.waiting = true
    requestAnimationFrame(() => {
      this.waiting = false
      this.viewer.refreshLabels()
      this.viewer.edited = this.correction.canUndo
      this.viewer.drawSide()
    })
  }

  private async keep(who: string): Promise<void> {
    if (!this.correction.moved().length) return this.viewer.say(text.nothingChanged)
    if (!who) return this.viewer.say(text.whoNeeded)
    this.viewer.say(text.saving)
    try {
      this.viewer.say(await this.save(this.correction, who))
      this.saved = true
    } catch (failed) {
      this.viewer.say(text.notSaved(failed instanceof Error ? failed.message : String(failed)))
    }
  }
}
