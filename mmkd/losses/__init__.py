"""Distillation losses, independent of any model."""

from mmkd.losses.ab import ABLoss
from mmkd.losses.at import ATLoss
from mmkd.losses.box_distribution import LDLoss
from mmkd.losses.cc import CCLoss
from mmkd.losses.class_scores import ClassScoreLoss, ClassScores
from mmkd.losses.crd import CRDLoss
from mmkd.losses.cross_kd import CrossKDBoxLoss, CrossKDCenternessLoss, CrossKDClassLoss
from mmkd.losses.cwd import CWDLoss
from mmkd.losses.dist import DISTLoss
from mmkd.losses.dkd import DKDLoss
from mmkd.losses.fbkd import FBKDLoss
from mmkd.losses.feature_loss import FeatureLoss, LearnedFeatureLoss
from mmkd.losses.feature_mimic import FeatureMimicLoss
from mmkd.losses.fgd import FGDLoss
from mmkd.losses.fitnet import FitNetLoss
from mmkd.losses.fsp import FSPLoss
from mmkd.losses.ickd import ICKDLoss
from mmkd.losses.mgd import MGDLoss
from mmkd.losses.nst import NSTLoss
from mmkd.losses.ofd import OFDLoss
from mmkd.losses.pkd import PKDLoss
from mmkd.losses.pkt import PKTLoss
from mmkd.losses.review_kd import ReviewKDLoss
from mmkd.losses.rkd import RKDLoss
from mmkd.losses.score_loss import ScoreLoss
from mmkd.losses.simkd import SimKDLoss
from mmkd.losses.soft_target import SoftTargetLoss
from mmkd.losses.sp import SPLoss
from mmkd.losses.srrl import SRRLLoss
from mmkd.losses.vid import VIDLoss
from mmkd.losses.wsld import WSLDLoss

__all__ = [
    'ABLoss',
    'ATLoss',
    'CCLoss',
    'CRDLoss',
    'CWDLoss',
    'ClassScoreLoss',
    'ClassScores',
    'CrossKDBoxLoss',
    'CrossKDCenternessLoss',
    'CrossKDClassLoss',
    'DISTLoss',
    'DKDLoss',
    'FBKDLoss',
    'FGDLoss',
    'FSPLoss',
    'FeatureLoss',
    'FeatureMimicLoss',
    'FitNetLoss',
    'ICKDLoss',
    'LDLoss',
    'LearnedFeatureLoss',
    'MGDLoss',
    'NSTLoss',
    'OFDLoss',
    'PKDLoss',
    'PKTLoss',
    'RKDLoss',
    'ReviewKDLoss',
    'SPLoss',
    'SRRLLoss',
    'ScoreLoss',
    'SimKDLoss',
    'SoftTargetLoss',
    'VIDLoss',
    'WSLDLoss',
]
