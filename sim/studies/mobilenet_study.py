"""The MobileNetV3 compression study: its tables, and how they contradict each other."""

from sim.studies.rows import CONTRADICTS, PublishedTable, row

_PAPER = "MobileNetV3 study"

TABLES = (
    PublishedTable(
        "mobilenet_study/table_1",
        "Split",
        f"{_PAPER}, Table I",
        (
            row("Training", num_train=213, percent_of_total=70),
            row("Validation", num_validation=45, percent_of_total=15),
            row("Testing", num_test=45, percent_of_total=15),
            row("Total", num_sampled=303, percent_of_total=100),
        ),
        ("160 x 160 face crops, one frame a picture",),
    ),
    PublishedTable(
        "mobilenet_study/table_2",
        "Training and test accuracy",
        f"{_PAPER}, Table II and section IV",
        (row("MobileNetV3", training_accuracy=97.30, accuracy=75.13),),
        (
            "printed as 0.9730 and 0.7513",
            f"{CONTRADICTS}no number of correct answers out of 45 test pictures gives 75.13 % (33 give "
            "73.33, 34 give 75.56), and none out of 213 training pictures 97.30 % (207 give 97.18)",
        ),
    ),
    PublishedTable(
        "mobilenet_study/roc",
        "ROC",
        f"{_PAPER}, section IV, figure 4",
        (row("MobileNetV3", auc=0.52),),
        (
            f"{CONTRADICTS}the confusion matrix's own point (true positive rate .852, false positive "
            "rate .321) already encloses an area of .578, more than the printed AUC of .52",
        ),
    ),
    PublishedTable(
        "mobilenet_study/confusion",
        "Confusion matrix",
        f"{_PAPER}, section IV, figure 5",
        (
            row(
                "MobileNetV3",
                true_negatives=691,
                false_positives=327,
                false_negatives=149,
                true_positives=857,
            ),
        ),
        (
            f"{CONTRADICTS}the matrix counts 2,024 samples, Table I 45 in the test set and 303 in all",
            f"{CONTRADICTS}the matrix gives an accuracy of (691 + 857) / 2,024 = 76.48 %, Table II "
            "says 75.13 %",
        ),
    ),
    PublishedTable(
        "mobilenet_study/table_3",
        "Against classical models",
        f"{_PAPER}, Table III",
        (
            row("Current Model", training_accuracy=97.3, accuracy=75.13),
            row("Support Vector Machine (SVM)", training_accuracy=95.0, accuracy=72.0),
            row("Decision Tree", training_accuracy=88.0, accuracy=68.0),
            row("Random Forest", training_accuracy=90.0, accuracy=75.0),
        ),
        (
            "features and settings of the classical models are not given",
            f"{CONTRADICTS}none of the test accuracies is a number of correct answers out of 45",
        ),
    ),
)
