"""The steps, by kind. A process works only on plans whose kinds it knows."""

from bot.core.steps.access import Access, FirstAccess, Share, Unshare
from bot.core.steps.addons import Addons
from bot.core.steps.allocatable import Allocatable, AllocatableAgain
from bot.core.steps.base import Step
from bot.core.steps.catalog import Catalog
from bot.core.steps.cluster_object import ClusterObject
from bot.core.steps.control_plane import ControlPlane
from bot.core.steps.forget import Forget
from bot.core.steps.gate import Gate
from bot.core.steps.gpu_labels import GpuLabels
from bot.core.steps.machine_configs import MachineConfigs
from bot.core.steps.machines import Machines
from bot.core.steps.no_instances import NoInstances
from bot.core.steps.operator import Operator
from bot.core.steps.policy_ready import PolicyReady
from bot.core.steps.preflight import Preflight
from bot.core.steps.remeasure import Regate, Remeasure
from bot.core.steps.remove_cluster import RemoveCluster
from bot.core.steps.replacing import MeasureNew, Retire, Surge
from bot.core.steps.scale_pool import ScalePool
from bot.core.steps.settled import Settled
from bot.core.steps.verify import Verify
from bot.core.steps.verify_new import GateNew, VerifyNew

_ALL: tuple[Step, ...] = (
    Preflight(),
    MachineConfigs(),
    ClusterObject(),
    ControlPlane(),
    Catalog(),
    Operator(),
    Addons(),
    Machines(),
    Settled(),
    GpuLabels(),
    PolicyReady(),
    Allocatable(),
    AllocatableAgain(),
    Verify(),
    Gate(),
    FirstAccess(),
    Access(),
    Share(),
    Unshare(),
    Forget(),
    Remeasure(),
    Regate(),
    Surge(),
    MeasureNew(),
    Retire(),
    RemoveCluster(),
    NoInstances(),
    ScalePool(),
    VerifyNew(),
    GateNew(),
)

STEPS: dict[str, Step] = {step.kind: step for step in _ALL}
